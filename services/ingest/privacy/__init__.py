"""What a shopper may ask for: purge, export, opting out. Made by `on_demand` where events are taken in."""

from services.ingest.privacy.on_demand import on_demand
from services.ingest.privacy.places import Places

__all__ = ["Places", "on_demand"]
