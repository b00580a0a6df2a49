"""The public data sets that can be prepared."""

from __future__ import annotations

from u2a_prepare.ave import AVE
from u2a_prepare.common import Choice, DataSet
from u2a_prepare.crema_d import CREMA_D
from u2a_prepare.food101 import FOOD101
from u2a_prepare.kinetics_sound import KINETICS_SOUND
from u2a_prepare.mm_imdb import MM_IMDB

#: The data sets that can be prepared, by name.
DATA_SETS = {data_set.name: data_set for data_set in (FOOD101, MM_IMDB, KINETICS_SOUND, AVE, CREMA_D)}

__all__ = ["DATA_SETS", "Choice", "DataSet"]
