// Any scores and options are refused, or give equal bits on every instruction set, in chunks and in
// little memory.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "mms/align.h"
#include "mms/beam.h"
#include "mms/greedy.h"
#include "mms/isa.h"
#include "mms/lexicon.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// Reads bytes from the front; zeros at the end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  int next(int bound) {
    if (size_ == 0) return 0;
    --size_;
    return *data_++ % bound;
  }
  std::size_t left() const { return size_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

/// One utterance in memory of exactly its size, so that overruns are detected.
struct Case {
  std::int64_t vocab;
  std::int64_t cut;
  mms::ScoreKind kind;
  std::int32_t blank;
  mms::BeamOptions beam;
  std::unique_ptr<mms::Hotwords> hotwords;
  std::vector<std::int64_t> target;
  std::vector<float> values;

  std::int64_t frames() const { return static_cast<std::int64_t>(values.size()) / vocab; }
  mms::Scores scores(std::int64_t start, std::int64_t end) const {
    return {values.data() + start * vocab, end - start, vocab, mms::DType::kFloat32, kind};
  }
};

float score_of(int byte) {
  if (byte == 0) return -std::numeric_limits<float>::infinity();
  if (byte == 255) return std::numeric_limits<float>::quiet_NaN();
  if (byte == 254) return std::numeric_limits<float>::infinity();
  if (byte == 253) return -1e30F;
  return static_cast<float>(byte - 200) / 8.0F;  // many ties, many nearly certain tokens
}

std::unique_ptr<mms::Hotwords> read_hotwords(Bytes& bytes, std::int32_t vocab, int boundary) {
  std::vector<mms::Phrase> phrases;
  for (int count = bytes.next(4); count > 0; --count) {
    mms::Phrase phrase{{}, static_cast<float>(bytes.next(40) - 8)};
    for (int size = bytes.next(5); size >= 0; --size) phrase.tokens.push_back(bytes.next(vocab));
    phrases.push_back(phrase);
  }
  if (phrases.empty()) return nullptr;
  return std::make_unique<mms::Hotwords>(phrases, vocab, boundary);
}

Case read_case(Bytes& bytes) {
  Case made;
  const int vocab = 1 + bytes.next(40);
  made.vocab = vocab;
  made.cut = bytes.next(64);
  made.kind = bytes.next(2) == 0 ? mms::ScoreKind::kLogits : mms::ScoreKind::kLogProbs;
  made.blank = bytes.next(vocab + 1);
  made.beam.blank = made.blank;
  made.beam.beam_size = 1 + bytes.next(24);
  made.beam.separator = bytes.next(vocab + 1) - 1;
  if (bytes.next(3) == 0) made.beam.token_min_logp = -static_cast<double>(bytes.next(20));
  if (bytes.next(3) == 0) made.beam.beam_threshold = static_cast<double>(bytes.next(20));
  if (bytes.next(3) == 0) made.beam.blank_skip = 0.5 + static_cast<double>(bytes.next(50)) / 100;
  if (bytes.next(3) == 0) made.beam.word_score = static_cast<double>(bytes.next(9) - 4);
  if (bytes.next(2) == 0) made.beam.lookback = 1 + bytes.next(30);
  made.hotwords = read_hotwords(bytes, vocab, made.beam.separator);
  for (int size = bytes.next(12); size > 0; --size)
    made.target.push_back(bytes.next(vocab + 1) - 1);
  const std::size_t frames = bytes.left() / static_cast<std::size_t>(vocab);
  made.values.resize(frames * static_cast<std::size_t>(vocab));
  for (float& value : made.values) value = score_of(bytes.next(256));
  return made;
}

using Result = std::vector<double>;

template <typename Tokens>
void append(Result& result, const Tokens& tokens) {
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
    for (const auto value : {static_cast<double>(tokens.ids[i]),
                             static_cast<double>(tokens.starts[i]),
                             static_cast<double>(tokens.ends[i]),
                             static_cast<double>(tokens.scores[i])}) {
      result.push_back(value);
    }
  }
}

Result greedy(const Case& given, std::int64_t cut) {
  mms::GreedyState state = mms::greedy_begin(given.blank);
  mms::TimedTokens tokens;
  mms::greedy_step(state, given.scores(0, cut), tokens);
  mms::greedy_step(state, given.scores(cut, given.frames()), tokens);
  mms::greedy_end(state, tokens);
  Result result;
  append(result, tokens);
  return result;
}

Result beam(const Case& given, std::int64_t cut) {
  mms::BeamModels models;
  models.hotwords = given.hotwords.get();
  mms::BeamStream stream(mms::BeamDecoder(given.beam, models));
  stream.step(given.scores(0, cut));
  stream.step(given.scores(cut, given.frames()));
  Result result;
  for (const auto& hypothesis : stream.results(given.beam.beam_size)) {
    append(result, hypothesis.tokens);
    result.push_back(hypothesis.score);
    result.push_back(hypothesis.log_prob);
  }
  return result;
}

/// Words are the ends of the target; every third has the spelling of another.
Result lexicon(const Case& given, std::int64_t cut) {
  std::vector<mms::Lexicon::Spelling> spellings;
  for (std::size_t i = 0; i < given.target.size(); ++i) {
    mms::Lexicon::Spelling one{{}, static_cast<std::int32_t>(i)};
    for (std::size_t k = i % 3 == 2 ? i - 1 : i; k < given.target.size(); ++k) {
      if (given.target[k] >= 0) one.tokens.push_back(static_cast<std::int32_t>(given.target[k]));
    }
    if (given.beam.separator >= 0) one.tokens.push_back(given.beam.separator);
    spellings.push_back(one);
  }
  const mms::Lexicon words(spellings);
  mms::LexiconOptions options;
  options.beam_size = given.beam.beam_size;
  options.blank = given.blank;
  options.separator = given.beam.separator;
  options.beam_threshold = given.beam.beam_threshold;
  options.word_score = given.beam.word_score;
  options.sum_paths = given.beam.beam_size % 2 == 0;
  options.open_end = given.beam.beam_size % 3 != 0;
  const mms::LexiconDecoder decoder(options, &words, nullptr, {});
  mms::LexiconStream stream(decoder);
  stream.step(given.scores(0, cut));
  const mms::LexiconPartial partial = stream.partial();
  require(partial.stable <= std::ssize(partial.best.words.ids));
  stream.step(given.scores(cut, given.frames()));
  Result result;
  for (const auto& hypothesis : stream.results(given.beam.beam_size)) {
    append(result, hypothesis.words);
    result.push_back(hypothesis.score);
    result.push_back(hypothesis.log_prob);
  }
  return result;
}

Result align(const Case& given, std::int64_t max_bytes, std::int64_t band) {
  mms::AlignOptions options;
  options.blank = given.blank;
  options.has_star = true;
  options.max_bytes = max_bytes;
  options.band = band;
  const mms::AlignTarget target{given.target.data(), std::ssize(given.target)};
  const mms::Alignment found = forced_align(given.scores(0, given.frames()), target, options);
  Result result{found.score};
  for (std::size_t i = 0; i < found.starts.size(); ++i) {
    require(found.starts[i] < found.ends[i] && (i == 0 || found.ends[i - 1] <= found.starts[i]));
    result.push_back(static_cast<double>(found.starts[i]));
    result.push_back(static_cast<double>(found.ends[i]));
    result.push_back(static_cast<double>(found.scores[i]));
  }
  return result;
}

/// The result, or nothing if the input is refused.
template <typename Work>
std::optional<Result> outcome(const Work& work) {
  try {
    return work();
  } catch (const std::invalid_argument&) {
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  Case given;
  try {
    given = read_case(bytes);
  } catch (const std::invalid_argument&) {
    return 0;  // invalid hotwords
  }
  const std::int64_t frames = given.frames();
  const std::int64_t cut = std::min(given.cut, frames);
  std::optional<Result> first[4];
  for (const mms::Isa isa : mms::usable_isas()) {
    mms::use_isa(isa);
    const std::optional<Result> found[4] = {outcome([&] { return greedy(given, frames); }),
                                            outcome([&] { return beam(given, frames); }),
                                            outcome([&] { return align(given, 1 << 28, 0); }),
                                            outcome([&] { return lexicon(given, frames); })};
    if (isa == mms::usable_isas().front()) std::copy_n(found, 4, first);
    require(std::equal(found, found + 4, first));
    require(outcome([&] { return greedy(given, cut); }) == found[0]);
    require(outcome([&] { return beam(given, cut); }) == found[1]);
    require(outcome([&] { return align(given, 1 << 28, 1 + cut); }) == found[2]);
    require(outcome([&] { return lexicon(given, cut); }) == found[3]);
    if (const auto small = outcome([&] { return align(given, 6000, 0); })) {
      require(small == found[2]);
    }
  }
  return 0;
}
