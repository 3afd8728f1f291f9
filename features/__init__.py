"""Data in, features out: schemas, adapters, point-in-time transforms, encoding, the feature store and the bundle
format.

Knows numpy, Polars and (in one file, `store`) Feast. Knows no torch, no server and no Triton.
"""
