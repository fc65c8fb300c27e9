// The automaton without Python: against counting, from several threads, and its bad arguments.
#include "mms/hotwords.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using Tokens = std::vector<std::int32_t>;

Tokens random_tokens(std::mt19937& generator, std::size_t size, std::int32_t vocab) {
  std::uniform_int_distribution<std::int32_t> token(0, vocab - 1);
  Tokens tokens(size);
  for (std::int32_t& each : tokens) each = token(generator);
  return tokens;
}

/// Both ways to a bonus agree, and the bound holds.
void check_steps(const mms::Hotwords& hotwords, mms::HotState state) {
  const mms::HotBonuses bonuses = hotwords.bonuses(state);
  for (std::int32_t token = 0; token < hotwords.vocab(); ++token) {
    const float bonus = hotwords.step(state, token).bonus;
    const float other = bonuses.arrival(token) - bonuses.potential;
    CHECK((token == bonuses.silent  ? 0.0F
           : token == bonuses.token ? bonuses.next
                                    : other) == bonus);
    CHECK(bonus <= hotwords.highest(state));
  }
}

void test_bonuses_of_every_state() {
  std::mt19937 generator(3);
  for (const std::int32_t vocab : {1, 2, 5, 65}) {
    for (const std::int32_t boundary : {-1, 0}) {
      if (boundary == vocab - 1) continue;
      std::vector<mms::Phrase> phrases;
      for (std::size_t i = 0; i < 60; ++i) {
        Tokens tokens = random_tokens(generator, 1 + i % 6, std::min(vocab, 6));
        tokens.push_back(vocab - 1);
        phrases.push_back({tokens, static_cast<float>(i) * 0.25F - 4.0F});
      }
      const mms::Hotwords hotwords(phrases, vocab, boundary);
      for (mms::HotState state = 0; state < hotwords.view().node_count; ++state) {
        check_steps(hotwords, state);
      }
    }
  }
}

void test_view_is_the_automaton() {
  const mms::Hotwords hotwords({{{1, 2}, 3.0F}, {{70, 2, 1}, 1.0F}}, 100, 0);
  const mms::HotwordsView view = hotwords.view();
  CHECK(view.pages_per_row == 2 && view.page_bits == 6);
  CHECK(hotwords.bytes() ==
        view.node_count * (sizeof(mms::HotNode) + sizeof(float)) +
            std::size_t{view.row_count} * view.pages_per_row * 4 +
            (std::size_t{view.page_count} << view.page_bits) * (4 + sizeof(float)));
  for (std::size_t i = 0; i < std::size_t{view.row_count} * view.pages_per_row; ++i) {
    CHECK(view.rows[i] < view.page_count);
  }
  for (std::size_t i = 0; i < std::size_t{view.page_count} << view.page_bits; ++i) {
    CHECK(view.pages[i] < view.node_count);
  }
}

}  // namespace

int main() {
  test_bonuses_of_every_state();
  test_view_is_the_automaton();
  return 0;
}
