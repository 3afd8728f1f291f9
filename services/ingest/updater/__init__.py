"""The updater: turns the streams of events into shoppers' feature rows and into files."""
