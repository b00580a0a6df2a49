"""Public data sets, from the layout in which their authors publish them to shards: ``u2a data prepare``."""

from u2a.data.prepare.ave import AVE
from u2a.data.prepare.common import Choice, DataSet
from u2a.data.prepare.crema_d import CREMA_D
from u2a.data.prepare.food101 import FOOD101
from u2a.data.prepare.kinetics_sound import KINETICS_SOUND
from u2a.data.prepare.mm_imdb import MM_IMDB

#: The data sets that can be prepared, by name.
DATA_SETS = {data_set.name: data_set for data_set in (FOOD101, MM_IMDB, KINETICS_SOUND, AVE, CREMA_D)}

__all__ = ["DATA_SETS", "Choice", "DataSet"]
