// Best single paths of hypotheses, for the frames of tokens; as in cpu/isa/beam.cpp.
#pragma once

#include "../scores.cuh"
#include "mms/cuda_beam.h"

namespace mms::cuda {

/// Among equal paths the one ending in a blank wins.
__device__ inline bool ends_in_blank(const BeamPath& path) { return path.blank >= path.label; }

__device__ inline double best_of(const BeamPath& path) {
  return ends_in_blank(path) ? path.blank : path.label;
}

/// Closed spans of the better path.
__device__ inline std::int32_t closed_spans(const BeamPath& path) {
  return ends_in_blank(path) ? path.blank_spans : path.label_spans;
}

/// Span of the last token on the path that ends in it, closed before `frame`.
__device__ inline BeamSpan last_span(const BeamPath& path, std::int64_t frame) {
  const auto frames = static_cast<double>(frame - path.start);
  return {path.start, frame, path.label_spans, static_cast<float>(path.sum / frames), path.peak, 0};
}

/// Path that a new token extends, and its spans.
struct BeamPathStart {
  double path;
  std::int32_t spans;
};

/// Path ending in a token that begins in `frame`.
__device__ inline BeamPath begin_path(const BeamPathStart& from, float logp, std::int64_t frame) {
  return {kNever, from.path + logp, logp, frame, logp, -1, from.spans, 0};
}

/// Paths of a prefix one frame later. Its last token, of log-probability `last`, begins now if the
/// parent's path is better. `closed` are all spans of the better path.
__device__ inline BeamPath stay_on_path(const BeamPath& path,
                                        std::int32_t closed,
                                        double blank,
                                        float last,
                                        const BeamPathStart& parent,
                                        std::int64_t frame) {
  BeamPath next = path;
  if (parent.path > path.label) {
    next = begin_path(parent, last, frame);
  } else {
    next.label = path.label + last;
    next.sum = path.sum + last;
    next.peak = path.peak > last ? path.peak : last;
  }
  next.blank = best_of(path) + blank;
  next.blank_spans = closed;
  return next;
}

}  // namespace mms::cuda
