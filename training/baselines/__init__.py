"""What a system without a model would show, ranked over the whole catalogue; measured in the same run as the model.

Every baseline answers `scores(user_id)` with float64 [N], never NaN; a shopper without history gets the popularity
order. `tuning` chooses their settings on validation queries.
"""

from training.baselines.ease import Ease
from training.baselines.factors import Factors, fit_als, fit_bpr
from training.baselines.frequency import HALF_LIFE_DAYS, RecencyFrequency
from training.baselines.item_knn import ItemKnn, item_neighbours
from training.baselines.lists import top
from training.baselines.popularity import Popularity, RecentPopularity
from training.baselines.zero_shot import ZeroShot

__all__ = [
    "HALF_LIFE_DAYS",
    "Ease",
    "Factors",
    "ItemKnn",
    "Popularity",
    "RecencyFrequency",
    "RecentPopularity",
    "ZeroShot",
    "fit_als",
    "fit_bpr",
    "item_neighbours",
    "top",
]
