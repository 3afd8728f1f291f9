"""The catalogue while a bundle serves: what came in since, what has changed, what is gone.

`service` answers the rpcs, `root` puts the parts together. An item is stored first and encoded as soon as Triton can:
the two never wait for each other longer than a deadline.
"""
