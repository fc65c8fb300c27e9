#include "select.h"

#include <algorithm>
#include <cmath>

namespace mms {
namespace {

/// Insertion sort, for nearly sorted input.
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
  ends_.clear();
  if (candidates_.size() > size) return;
  candidates_.resize(size + 1);
  bucket_of_.resize(size + 1);
  best_.reserve(size + 1);
}

// Four independent chains of comparisons.
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

// Buckets of equal width over the range of scores, best first. The assignment affects only the
// amount of sorting left, not the result.
void Selection::open_buckets(Scores range, std::size_t count) {
  std::size_t buckets = 32;
  while (buckets < count) buckets *= 2;
  ends_.assign(buckets, 0);
  counted_ = 0;
  range_ = range;
  const double width = range.high - range.low;
  scale_ = width > 0.0 ? std::min(static_cast<double>(buckets - 1) / width, 1e300) : 0.0;
}

void Selection::count_buckets() {
  const auto last = static_cast<double>(ends_.size() - 1);
  const double high = range_.high;
  const double scale = scale_;
  for (std::size_t i = counted_; i < size_; ++i) {
    const double below = std::max(high - candidates_[i].score, 0.0);
    const double place = scale > 0.0 ? std::min(below * scale, last) : 0.0;
    const auto bucket = static_cast<std::uint32_t>(static_cast<std::int32_t>(place));
    bucket_of_[i] = bucket;
    ++ends_[bucket];
  }
  counted_ = size_;
}

double Selection::raise(double low, double high, std::size_t count) {
  open_buckets({low, high}, count);
  count_buckets();
  std::size_t bucket = 0;
  for (std::size_t found = ends_[0]; found < count; found += ends_[bucket]) {
    if (++bucket == ends_.size()) return low;
  }
  // Slightly lower, so that rounding cannot exclude a candidate.
  const double edge = high - static_cast<double>(bucket + 1) / scale_;
  return std::max(low, edge - 1e-9 * (1.0 + std::abs(edge)));
}

// Counting sort of the buckets that hold the `count` best; returns the size of the largest.
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
  best_.resize(used + 1);
  // All other buckets write behind the last one, which avoids an unpredictable branch.
  std::fill(ends_.begin() + static_cast<std::ptrdiff_t>(bucket), ends_.end(), used);
  const auto cut = static_cast<std::uint32_t>(bucket);
  for (std::size_t i = 0; i < size_; ++i) {
    std::uint32_t& end = ends_[bucket_of_[i]];
    best_[end] = candidates_[i];
    end += bucket_of_[i] < cut ? 1 : 0;
  }
  best_.pop_back();
  ends_.resize(bucket);
  return largest;
}

void Selection::select(std::size_t count) {
  constexpr std::size_t kFew = 24;
  if (size_ == 0) {
    best_.clear();
    return;
  }
  if (ends_.empty()) open_buckets(range(), std::min(count, size_));
  count_buckets();
  if (spread(count) <= kFew) {
    sort_few(best_.data(), best_.data() + best_.size());
  } else {
    const auto kept = static_cast<std::ptrdiff_t>(std::min(count, best_.size()));
    std::partial_sort(best_.begin(), best_.begin() + kept, best_.end(), better);
  }
  if (best_.size() > count) best_.resize(count);
}

}  // namespace mms
