"""Rules: item-to-item tables counted from sessions."""
