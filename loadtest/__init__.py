"""Load tests that decide a release: `python -m loadtest`."""
