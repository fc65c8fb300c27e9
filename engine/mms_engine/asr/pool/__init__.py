"""Pools of streams that share one model: their steps run in common batches."""

from mms_engine.asr.pool.options import PoolOptions
from mms_engine.asr.pool.pool import StreamPool
from mms_engine.asr.pool.pooled_stream import PooledStream

__all__ = ["PoolOptions", "PooledStream", "StreamPool"]
