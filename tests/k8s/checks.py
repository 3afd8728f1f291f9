"""All checks that read what an overlay renders to."""

from collections.abc import Callable, Sequence

from tests.conftest import REPOSITORY_ROOT
from tests.k8s import availability, edges, hardening, metrics, places, probes, references, settings, tokens, volumes
from tests.k8s.manifests import Finding, Objects

README = REPOSITORY_ROOT / "k8s/README.md"

CHECKS: Sequence[Callable[[Objects], list[Finding]]] = (
    references.check_selectors,
    references.check_ports,
    references.check_volumes,
    references.check_keys,
    references.check_accounts,
    hardening.check_images,
    hardening.check_rights,
    hardening.check_resources,
    hardening.check_amounts,
    probes.check_probes,
    probes.check_probed_ports,
    tokens.check_tokens,
    volumes.check_claims,
    availability.check_autoscalers,
    availability.check_budgets,
    availability.check_rollouts,
    availability.check_endings,
    availability.check_schedules,
    settings.check_variables,
    settings.check_listening,
    settings.check_flags,
    places.check_paths,
    places.check_written,
    places.check_waiting,
    metrics.check_scaling,
    metrics.check_figures,
)


def findings(objects: Objects) -> list[Finding]:
    """Everything that is wrong with what an overlay renders to, beyond its schema."""
    found = [finding for check in CHECKS for finding in check(objects)]
    return found + edges.check_edges(objects, edges.table_of(README))
