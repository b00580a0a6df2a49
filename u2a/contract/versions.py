"""Versions of the plugin contract."""

from __future__ import annotations

#: The version of this contract. A plugin states the one it was made for in ``ModalitySpec.api``.
#: 2: several ways to `tune`, which recipes choose from; `describe` and `preview`; no ``share_key``.
API_VERSION = 2
#: Contract versions that this u2a can still run.
SUPPORTED_API = (1, 2)
#: What a record that says no version was made for: version 1 had this default.
UNSTATED_API = 1
