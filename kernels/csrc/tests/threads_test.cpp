// Threads that share a decoder with all its models, each with a stream of its own: run under the
// thread sanitizer by `make race`.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "mms/arpa.h"
#include "mms/beam.h"
#include "mms/isa.h"
#include "mms/ngram.h"

namespace {

void check(bool holds, const char* what, int line) {
  if (holds) return;
  std::fprintf(stderr, "threads_test.cpp:%d: %s\n", line, what);
  std::exit(1);
}
#define CHECK(condition) check(condition, #condition, __LINE__)

constexpr std::int64_t kVocab = 4;
constexpr std::int64_t kFrames = 120;
constexpr std::int32_t kSeparator = 1;
constexpr std::size_t kThreads = 6;

constexpr std::string_view kArpa =
    "\\data\\\nngram 1=5\nngram 2=3\n\n"
    "\\1-grams:\n-99\t<s>\t-0.5\n-1\t</s>\n-2\t<unk>\n-0.5\tab\t-0.25\n-0.75\tba\t-0.125\n\n"
    "\\2-grams:\n-0.25\t<s> ab\n-0.5\tab ba\n-1\tba </s>\n\n\\end\\\n";

std::vector<std::byte> compact(std::string_view arpa) {
  mms::ArpaReader reader;
  reader.read(arpa);
  const auto image = reader.finish();
  std::vector<std::byte> bytes;
  for (const auto part : image->pieces()) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

/// Everything that scores.
struct Models {
  Models() : lm(compact(kArpa)) {}

  mms::NgramModel lm;
  mms::Hotwords hotwords{{{{2, 3}, 3.0F}, {{3, 2, 1, 2}, 2.0F}}, kVocab, kSeparator};

  /// A decoder that nobody has asked anything.
  mms::BeamDecoder decoder(mms::BeamUnit unit) const {
    mms::BeamOptions options;
    options.beam_size = 12;
    options.separator = kSeparator;
    options.lm_weight = 1.5;
    options.word_score = 0.25;
    options.unit = unit;
    return {options, {&lm, &hotwords, {"", "|", "a", "b"}}};
  }
};

std::vector<float> random_logits(unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, 2.0F);
  std::vector<float> logits(static_cast<std::size_t>(kFrames * kVocab));
  for (float& logit : logits) logit = normal(generator);
  return logits;
}

/// What a stream finds: tokens and scores of all hypotheses.
std::vector<double> decode(const mms::BeamDecoder& decoder, unsigned seed) {
  const std::vector<float> logits = random_logits(seed);
  mms::BeamStream stream(decoder);
  for (std::int64_t frame = 0; frame < kFrames; frame += 10) {
    stream.step({logits.data() + frame * kVocab, 10, kVocab});
  }
  std::vector<double> found;
  for (const mms::BeamHypothesis& hypothesis : stream.results(12)) {
    found.insert(found.end(), hypothesis.tokens.ids.begin(), hypothesis.tokens.ids.end());
    found.push_back(hypothesis.score);
  }
  return found;
}

void test_threads_share_a_decoder(mms::BeamUnit unit) {
  const Models models;
  const mms::BeamDecoder shared = models.decoder(unit);
  std::vector<std::vector<double>> found(kThreads);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    // Two threads to an utterance: they need the same answers at the same time.
    threads.emplace_back([&, i] { found[i] = decode(shared, i / 2); });
  }
  for (std::thread& thread : threads) thread.join();
  for (unsigned i = 0; i < kThreads; ++i) {
    CHECK(!found[i].empty() && found[i] == decode(models.decoder(unit), i / 2));
  }
}

void test_threads_may_choose_instructions_while_others_decode() {
  const Models models;
  const mms::BeamDecoder shared = models.decoder(mms::BeamUnit::kWord);
  const std::vector<double> expected = decode(shared, 9);
  const mms::Isa before = mms::current_isa();
  std::vector<double> found;
  std::thread decoding([&] { found = decode(shared, 9); });
  for (int i = 0; i < 200; ++i) {
    for (const mms::Isa isa : mms::usable_isas()) mms::use_isa(isa);
  }
  decoding.join();
  mms::use_isa(before);
  CHECK(found == expected);
}

}  // namespace

int main() {
  for (const auto unit : {mms::BeamUnit::kWord, mms::BeamUnit::kToken}) {
    test_threads_share_a_decoder(unit);
  }
  test_threads_may_choose_instructions_while_others_decode();
  return 0;
}
