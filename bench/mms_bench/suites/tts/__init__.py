"""Suite `tts`: speed of speech, first audio, change of voice, memory, streams per machine."""

from mms_bench.peers import SYNTHESIZERS
from mms_bench.run.race import Pace
from mms_bench.run.subject import voices_subject
from mms_bench.run.suite import Part, Suite
from mms_bench.suites.tts.commands import COLD, measure_cold
from mms_bench.suites.tts.listeners import LISTENERS, measure_listeners
from mms_bench.suites.tts.sentences import FIRST, SENTENCE, measure_sentence
from mms_bench.suites.tts.voices import DISK, MEMORY, RESIDENT, measure_memory, measure_switch
from mms_export.checkpoints.open import DEMO_VOICE

SUITE = Suite(
    name="tts",
    peers=tuple(SYNTHESIZERS),
    parts=(
        Part("sentence", (SENTENCE, FIRST), measure_sentence),
        Part("switch", (RESIDENT, DISK), measure_switch),
        Part("memory", (MEMORY,), measure_memory),
        Part("listeners", (LISTENERS,), measure_listeners),
        Part("cold", (COLD,), measure_cold),
    ),
    pace=Pace(),
    languages=4,
    table=SYNTHESIZERS,
    demo=DEMO_VOICE,
    subject=voices_subject,
)
