"""Whether the manifests of k8s/ can be applied, and mean what they should: `python -m tests.k8s`.

Choices: every check is a pure function of what an overlay renders to, and answers with findings that have names; it
lies among the tests because it reads the services' own settings and metrics, and is shipped with nothing.
"""
