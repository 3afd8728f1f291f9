"""What the users of the synthetic shop do: visits that run through the funnel, and staples bought again and again.

Choices: everything is drawn in arrays, so that millions of views take seconds; a visit ends within its day and so
within its week; purchases of a visit come at its end. New items are seen by nobody before the last week.

Knows nothing of ids, text or tables: users and items are rows. Letters in shapes: U users, I items, S sessions,
V views.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.synthetic_world import Floats, Ints, SyntheticConfig, World

_DAY = 86_400
_WEEK = 7 * _DAY
_SECONDS_A_VIEW = 45
_CLICK_AFTER, _CART_AFTER, _CHECKOUT_AFTER = 6, 20, 60


@dataclass(frozen=True, slots=True)
class _Sessions:
    user: Ints
    """(S,) row."""
    start: Ints
    """(S,) seconds since the shop's first Monday."""
    view_count: Ints
    """(S,) at least 1."""


def simulate(world: World, config: SyntheticConfig, rng: np.random.Generator) -> pl.DataFrame:
    """Everything that happens in all weeks, in order of time.

    Returns:
        Frame of user, item (rows), event_type, second (since the first Monday), session (number), quantity.
    """
    sessions = _visits(world, config, rng)
    view_session = np.repeat(np.arange(sessions.user.size), sessions.view_count)
    items = _viewed_items(world, config, sessions, view_session, rng)
    views = pl.DataFrame({"user": sessions.user[view_session], "item": items, "session": view_session})
    visits = _funnel(world, config, sessions, views, rng)
    staples = _staples(world, config, first_session=sessions.user.size, rng=rng)
    events = pl.concat([visits, staples]).sort("second", maintain_order=True)
    extra = rng.poisson(0.2, events.height)
    is_purchase = pl.col("event_type") == "purchase"
    return events.with_columns(quantity=pl.when(is_purchase).then(1 + pl.lit(pl.Series(extra))).otherwise(1))


def _visits(world: World, config: SyntheticConfig, rng: np.random.Generator) -> _Sessions:
    rate = np.repeat(world.activity * config.sessions_per_week, config.weeks)  # (U * weeks,)
    counts = rng.poisson(rate)
    cells = np.repeat(np.arange(counts.size), counts)
    user, week = np.divmod(cells, config.weeks)
    time_of_day = rng.integers(8 * 3600, 22 * 3600, user.size)
    start = week * _WEEK + rng.integers(0, 7, user.size) * _DAY + time_of_day
    longest = (2 * 3600 - _CHECKOUT_AFTER) // _SECONDS_A_VIEW - 1  # a visit that begins at 22:00 ends before midnight
    view_count = np.minimum(1 + rng.poisson(config.views_per_session - 1, user.size), longest)
    return _Sessions(user, start, view_count)


def _viewed_items(
    world: World, config: SyntheticConfig, sessions: _Sessions, view_session: Ints, rng: np.random.Generator
) -> Ints:
    """Item row of each view, shape (V,)."""
    users = sessions.user[view_session]
    is_last_week = sessions.start[view_session] >= (config.weeks - 1) * _WEEK
    is_stray = rng.random(users.size) >= config.taste_share
    items = np.full_like(users, config.item_count)  # out of range, should a view be forgotten below
    for sees_new in (False, True):
        in_phase = is_last_week == sees_new
        offered = np.flatnonzero(~world.is_new | sees_new)
        has_own = np.isin(world.user_taste[users], world.item_taste[offered])
        stray = np.flatnonzero(in_phase & (is_stray | ~has_own))
        items[stray] = offered[_draw(world.popularity[None, offered], np.zeros_like(stray), rng)]
        for taste in range(config.taste_count):
            fans = np.flatnonzero(world.user_taste == taste)
            own = offered[world.item_taste[offered] == taste]
            views = np.flatnonzero(in_phase & ~is_stray & (world.user_taste[users] == taste))
            if own.size:
                items[views] = own[_draw(world.utility(fans, own), np.searchsorted(fans, users[views]), rng)]
    return items


def _draw(utility: Floats, rows: Ints, rng: np.random.Generator) -> Ints:
    """For each entry of rows, one column of that row of utility, drawn with weight exp(utility)."""
    weights = np.cumsum(np.exp(utility - utility.max(axis=1, keepdims=True)), axis=1)
    shares = weights / weights[:, -1:] + np.arange(len(utility))[:, None]  # rows end to end: one sorted line
    flat: Ints = np.searchsorted(shares.ravel(), rows + rng.random(rows.size), side="right")
    columns: Ints = np.minimum(flat - rows * utility.shape[1], utility.shape[1] - 1)
    return columns


def _funnel(
    world: World, config: SyntheticConfig, sessions: _Sessions, views: pl.DataFrame, rng: np.random.Generator
) -> pl.DataFrame:
    """What follows from each view (user, item, session): a click, then the cart, then the purchase."""
    user, item, session = (views[name].to_numpy() for name in ("user", "item", "session"))
    factor = np.where(world.user_taste[user] == world.item_taste[item], 1.0, config.stray_factor)
    is_clicked = rng.random(user.size) < config.click_rate * factor
    is_carted = is_clicked & (rng.random(user.size) < config.cart_rate * factor)
    is_bought = is_carted & (rng.random(user.size) < config.purchase_rate)
    view_count = sessions.view_count
    position = np.arange(user.size) - (np.cumsum(view_count) - view_count)[session]
    seen = sessions.start[session] + position * _SECONDS_A_VIEW
    checkout = sessions.start[session] + view_count[session] * _SECONDS_A_VIEW + _CHECKOUT_AFTER
    return pl.concat(
        [
            _step(views, "view", seen),
            _step(views.filter(is_clicked), "click", seen[is_clicked] + _CLICK_AFTER),
            _step(views.filter(is_carted), "add-to-cart", seen[is_carted] + _CART_AFTER),
            _step(views.filter(is_bought), "purchase", checkout[is_bought]),
        ]
    )


def _step(what: pl.DataFrame, event_type: str, second: Ints) -> pl.DataFrame:
    return what.with_columns(event_type=pl.lit(event_type), second=pl.lit(pl.Series(second)))


def _staples(world: World, config: SyntheticConfig, first_session: int, rng: np.random.Generator) -> pl.DataFrame:
    """Each user's favourite supplies, put into the cart and bought in a short visit whenever they have run out."""
    users, items = _favourite_supplies(world, config)
    cadence = world.cadence_days[items] * _DAY
    most = config.weeks * _WEEK // (min(world.cadence_days) * _DAY) + 1
    first = rng.random(users.size) * cadence
    delay = rng.normal(0, 0.08, (users.size, most)) * cadence[:, None]
    second = (first[:, None] + np.arange(most) * cadence[:, None] + delay).astype(np.int64)
    row, turn = np.nonzero((second >= 0) & (second < config.weeks * _WEEK - _CHECKOUT_AFTER))
    bought = pl.DataFrame({"user": users[row], "item": items[row], "session": first_session + np.arange(row.size)})
    put_in = second[row, turn]
    return pl.concat([_step(bought, "add-to-cart", put_in), _step(bought, "purchase", put_in + _CHECKOUT_AFTER - 1)])


def _favourite_supplies(world: World, config: SyntheticConfig) -> tuple[Ints, Ints]:
    """Rows of users and of their favourite supplies, both (up to U * staple_count,)."""
    pairs = []
    for taste in range(config.taste_count):
        fans = np.flatnonzero(world.user_taste == taste)
        supplies = np.flatnonzero((world.item_taste == taste) & world.is_supply & ~world.is_new)
        count = min(config.staple_count, supplies.size)
        best = np.argsort(-world.utility(fans, supplies), axis=1, kind="stable")[:, :count]
        pairs.append((np.repeat(fans, count), supplies[best].ravel()))
    users, items = zip(*pairs, strict=True)
    return np.concatenate(users), np.concatenate(items)
