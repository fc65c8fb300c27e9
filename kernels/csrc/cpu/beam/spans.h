// Spans of tokens on best paths, as chains shared by hypotheses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mms {

/// Reference-counted spans: one reference per following span and per path that ends with it.
class SpanTree {
 public:
  using Id = std::int32_t;
  static constexpr Id kNone = -1;

  struct Span {
    Id previous;
    std::int32_t refs;
    std::int64_t start;
    std::int64_t end;
    float score;
    float peak;
  };

  /// Create the root, which precedes the first token, with one reference.
  SpanTree() { root_ = add(kNone, 0, 0, 0.0F, 0.0F); }

  const Span& operator[](Id id) const { return spans_[static_cast<std::size_t>(id)]; }
  Id root() const { return root_; }
  std::int64_t live() const { return live_; }

  /// Add a span after `previous`, with one reference.
  Id add(Id previous, std::int64_t start, std::int64_t end, float score, float peak) {
    Id id;
    if (free_.empty()) {
      id = static_cast<Id>(spans_.size());
      spans_.emplace_back();
    } else {
      id = free_.back();
      free_.pop_back();
    }
    spans_[static_cast<std::size_t>(id)] = {previous, 1, start, end, score, peak};
    if (previous != kNone) acquire(previous);
    ++live_;
    return id;
  }

  void acquire(Id id) { ++spans_[static_cast<std::size_t>(id)].refs; }

  void release(Id id) {
    while (id != kNone && --spans_[static_cast<std::size_t>(id)].refs == 0) {
      free_.push_back(id);
      --live_;
      id = spans_[static_cast<std::size_t>(id)].previous;
    }
  }

  /// Replace the root by `next`, its only referrer.
  void advance_root(Id next) {
    free_.push_back(root_);
    --live_;
    spans_[static_cast<std::size_t>(next)].previous = kNone;
    root_ = next;
  }

 private:
  std::vector<Span> spans_;
  std::vector<Id> free_;
  Id root_ = kNone;
  std::int64_t live_ = 0;
};

}  // namespace mms
