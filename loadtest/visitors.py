"""All visitors of one generator process, as one Locust user.

Choices: arrivals are counted, not users, so there is one user per process, whose only task is the whole run. Importing
Locust patches this process for gevent, so nothing but the generator's own process may import this.
"""

from locust import User, task
from locust.exception import StopUser


class Visitors(User):
    """The Locust user; `environment.visits` is what it does."""

    @task
    def let_in(self) -> None:
        """Everything, once."""
        self.environment.visits()
        raise StopUser
