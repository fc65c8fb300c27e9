#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "builder.h"
#include "mms/arpa.h"
#include "mms/ngram.h"

namespace mms {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) throw std::invalid_argument("the last word has no line end");
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

/// N-grams of an automaton, order by order.
///
/// States are numbered in the sequence of their n-grams, order by order, and an arc leads to the
/// longest suffix that is a state. So an arc belongs to a state of its own if it leads to the first
/// state that no arc before it led to.
class Walk {
 public:
  Walk(const LmView& view, const std::vector<std::string_view>& words, lm::Builder& builder)
      : view_(view), words_(words), builder_(builder), steps_(view.state_count) {}

  void add_unigrams() {
    builder_.begin_order();
    for (LmUnit unit = 0; unit < view_.vocab; ++unit) {
      const NgramUnigram& gram = view_.unigrams[unit];
      builder_.add_unigram(words_[unit], gram.score, backoff_of({0, unit}, gram.next));
    }
    builder_.end_order();
  }

  /// Add the n-grams of an order above 1, after those below.
  void add_order(std::uint32_t order) {
    builder_.begin_order();
    const LmState last = known_;
    for (; context_ < last; ++context_) {
      std::vector<std::string_view> gram(order);
      fill(gram, context_);
      for (std::uint32_t i = view_.states[context_].first_arc;
           i < view_.states[context_ + 1].first_arc;
           ++i) {
        const NgramArc& arc = view_.arcs[i];
        gram.back() = words_[arc.word];
        builder_.add(gram, arc.score, backoff_of({context_, arc.word}, arc.next));
      }
    }
    builder_.end_order();
  }

  bool is_complete() const { return known_ == view_.state_count; }

 private:
  struct Step {
    LmState context = 0;
    LmUnit word = 0;
  };

  /// Back-off weight of the n-gram of a step, which leads to `next`.
  float backoff_of(const Step& step, LmState next) {
    if (next != known_) return 0.0F;
    steps_[known_++] = step;
    return view_.states[next].backoff;
  }

  /// Write the words of a state to all places but the last.
  void fill(std::vector<std::string_view>& gram, LmState state) const {
    for (std::size_t i = gram.size() - 1; i > 0; --i) {
      gram[i - 1] = words_[steps_[state].word];
      state = steps_[state].context;
    }
  }

  const LmView& view_;
  const std::vector<std::string_view>& words_;
  lm::Builder& builder_;
  std::vector<Step> steps_;  ///< Last step to each state.
  LmState known_ = 1;        ///< States whose n-gram is known.
  LmState context_ = 1;
};

}  // namespace

std::unique_ptr<NgramImage> renamed(const NgramModel& model, std::string_view words) {
  const auto lines = lines_of(words);
  if (lines.size() != model.view().vocab) {
    throw std::invalid_argument("there are " + std::to_string(lines.size()) +
                                " words, the language model has " +
                                std::to_string(model.view().vocab));
  }
  lm::Builder builder(lm::Repeated::kBest);
  Walk walk(model.view(), lines, builder);
  walk.add_unigrams();
  for (std::uint32_t order = 2; order <= model.order(); ++order) walk.add_order(order);
  if (!walk.is_complete()) {
    throw std::invalid_argument("the language model is damaged: its states are not in order");
  }
  return builder.finish();
}

}  // namespace mms
