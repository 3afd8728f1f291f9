"""Whether the catalogue has an item: in the bundle or come in since, and not taken out."""

from services.ingest.catalog.serving import Serving


class Known:
    """`item_id` → whether there is such an item; asks nobody, hence a moment behind what has come in."""

    def __init__(self, serving: Serving) -> None:
        """Args: serving: the catalogue as this process sees it."""
        self._serving = serving

    def __call__(self, item_id: str) -> bool:
        """Whether the catalogue has the item."""
        live = self._serving.live.get(item_id)
        return not live.deleted if live is not None else item_id in self._serving.current
