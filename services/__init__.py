"""The servers: ranking, retrieval, Triton's model repository, and what they share. Runs without torch."""
