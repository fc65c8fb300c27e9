#include "beam_select.h"

#include <algorithm>

namespace mms {
namespace {

/// Sort what is nearly sorted.
void sort_few(Candidate* first, Candidate* last) {
  for (Candidate* next = first + 1; next < last; ++next) {
    const Candidate candidate = *next;
    Candidate* place = next;
    for (; place > first && better(candidate, place[-1]); --place) *place = place[-1];
    *place = candidate;
  }
}

}  // namespace

void Selection::reset(std::size_t size) {
  size_ = 0;
  if (candidates_.size() > size) return;
  candidates_.resize(size + 1);
  bucket_of_.resize(size + 1);
  best_.reserve(size + 1);
}

// Four at a time: each comparison waits for the one before it.
Selection::Scores Selection::range() const {
  Scores ranges[4];
  for (Scores& one : ranges) one = {candidates_[0].score, candidates_[0].score};
  for (std::size_t i = 0; i < size_; ++i) {
    const double score = candidates_[i].score;
    Scores& one = ranges[i % 4];
    one.low = score < one.low ? score : one.low;
    one.high = score > one.high ? score : one.high;
  }
  for (const Scores& one : ranges) {
    ranges[0] = {std::min(ranges[0].low, one.low), std::max(ranges[0].high, one.high)};
  }
  return ranges[0];
}

// Buckets of equal width over the range of scores, the best first. Which candidate falls into
// which only decides how much is left to sort: the outcome is the total order's.
void Selection::count_buckets(std::size_t buckets) {
  const auto [low, high] = range();
  const auto last = static_cast<double>(buckets - 1);
  const double scale = high > low ? std::min(last / (high - low), 1e300) : 0.0;
  ends_.assign(buckets, 0);
  for (std::size_t i = 0; i < size_; ++i) {
    const double place = scale > 0.0 ? std::min((high - candidates_[i].score) * scale, last) : 0.0;
    bucket_of_[i] = static_cast<std::uint32_t>(static_cast<std::int32_t>(place));
    ++ends_[bucket_of_[i]];
  }
}

// A counting sort of the buckets that hold the `count` best; returns the size of the largest.
std::size_t Selection::spread(std::size_t count) {
  std::uint32_t used = 0;
  std::uint32_t largest = 0;
  std::size_t bucket = 0;
  for (; bucket < ends_.size() && used < count; ++bucket) {
    const std::uint32_t size = ends_[bucket];
    ends_[bucket] = used;
    used += size;
    largest = std::max(largest, size);
  }
  best_.resize(used);
  const auto cut = static_cast<std::uint32_t>(bucket);
  for (std::size_t i = 0; i < size_; ++i) {
    if (bucket_of_[i] < cut) best_[ends_[bucket_of_[i]]++] = candidates_[i];
  }
  ends_.resize(bucket);
  return largest;
}

void Selection::sort_buckets(std::size_t count) {
  Candidate* first = best_.data();
  for (const std::uint32_t end : ends_) {
    Candidate* last = best_.data() + end;
    Candidate* needed = best_.data() + std::min<std::size_t>(end, count);
    if (needed < last) std::nth_element(first, needed, last, better);
    std::sort(first, needed, better);
    first = last;
  }
}

void Selection::select(std::size_t count) {
  constexpr std::size_t kFew = 24;
  if (size_ == 0) {
    best_.clear();
    return;
  }
  std::size_t buckets = 32;
  while (buckets < std::min(count, size_)) buckets *= 2;
  count_buckets(buckets);
  if (spread(count) <= kFew) {
    sort_few(best_.data(), best_.data() + best_.size());
  } else {
    sort_buckets(count);
  }
  if (best_.size() > count) best_.resize(count);
}

}  // namespace mms
