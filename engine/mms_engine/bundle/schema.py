from mms_engine.bundle.manifest import *  # noqa
from mms_engine.bundle.manifest import PRECISIONS, Wav2Vec2Ctc as Architecture, DataFile as Adapter
Stage = str
PLANNED = ("frontend", "encoder")
HardwareCompatibility = str
