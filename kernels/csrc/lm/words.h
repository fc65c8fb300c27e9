// Word table under construction: text to id.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "mms/ngram.h"

namespace mms::lm {

class Words {
 public:
  static constexpr LmUnit kMissing = 0xffffffff;

  /// Return the id of a word, and true if it is new.
  std::pair<LmUnit, bool> add(std::string_view word);
  /// Return the id of a word, or kMissing.
  LmUnit find(std::string_view word) const { return view().find(word, kMissing); }
  LmUnit size() const { return static_cast<LmUnit>(offsets.size() - 1); }
  WordsView view() const { return {slots.data(), offsets.data(), text.data(), slots.size()}; }

  std::vector<std::uint32_t> slots = std::vector<std::uint32_t>(8);
  std::vector<std::uint64_t> offsets = {0};
  std::vector<char> text;

 private:
  void place(LmUnit unit);
};

}  // namespace mms::lm
