"""Item and user tables: embeddings, towers, and the matrix products that score items."""
