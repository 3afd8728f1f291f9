"""Where `feast apply` looks for definitions: they are generated from the feature list, see `features.feast_repo`."""

import os
from pathlib import Path

from features.feast_repo import define

user, item, user_batch, user_live, items = define(Path(os.environ["AISLE_OFFLINE_DIR"]))
