"""From a clean clone to live recommendations: the lines of AREA=chain, by number."""

from tests.acceptance import chain_bad_input, chain_clone, chain_quality, chain_serving

LINES = {
    1: chain_clone.demo,
    2: chain_clone.test_suite,
    3: chain_serving.any_client,
    4: chain_quality.parity,
    5: chain_quality.time_split,
    6: chain_bad_input.bad_input,
    7: chain_serving.ranking_process,
}
