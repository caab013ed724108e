"""The long-term store that graphs get by `get_store()`: its file, searches, and embeddings."""
