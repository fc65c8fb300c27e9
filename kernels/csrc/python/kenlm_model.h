// LanguageModel of the optional Python package kenlm.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mms/lm.h"

/// Queries Python, under the GIL, for scores that are not cached. The cache holds up to a million
/// pairs of state and unit and is cleared as a whole; states are kept, since a decoder may return
/// to any of them.
///
/// State 0 is the empty context. Thread-safe; the lock is never held while waiting for the GIL.
class KenlmModel final : public mms::LanguageModel {
 public:
  /// A `kenlm.Model`, and the class `kenlm.State`. The caller holds the GIL.
  KenlmModel(nanobind::object model, nanobind::object state_class);
  ~KenlmModel() override;

  mms::LmState start() const override { return start_; }
  mms::LmUnit unit(std::string_view text) const override;
  bool knows(std::string_view text) const override { return unit(text) != kUnknown; }
  mms::LmStep score(mms::LmState state, mms::LmUnit unit) const override;
  /// Let a text stand for a word of the model.
  void alias(std::string_view text, std::string_view word);
  float finish(mms::LmState state) const override { return score(state, kEnd).score; }

  KenlmModel(const KenlmModel&) = delete;
  KenlmModel& operator=(const KenlmModel&) = delete;

 private:
  static constexpr mms::LmUnit kUnknown = 0;
  static constexpr mms::LmUnit kEnd = 1;

  mms::LmUnit add_unit(const std::string& word) const;
  mms::LmStep ask(mms::LmState state, const std::string& word) const;
  mms::LmState intern(const nanobind::object& state) const;

  // Python objects, used only under the GIL.
  nanobind::object model_;
  nanobind::object state_class_;
  mutable nanobind::dict ids_;
  mutable nanobind::list states_;
  mms::LmState start_ = 0;

  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, mms::LmUnit> units_;
  mutable std::vector<std::string> spelled_;
  mutable std::unordered_map<std::uint64_t, mms::LmStep> steps_;
};
