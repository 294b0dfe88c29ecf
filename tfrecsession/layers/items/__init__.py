"""Item and user tables: embeddings, towers, and the products that score items."""
