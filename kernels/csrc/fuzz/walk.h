// Helpers of the fuzz targets of compact files: valid checksums, and queries of an accepted model.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../lm/format.h"
#include "mms/arpa.h"
#include "mms/ngram.h"

namespace fuzz {

/// Fix magic, size and checksum of a compact file.
inline void mend(std::span<std::byte> content) {
  mms::lm::Header header;
  if (content.size() < sizeof(header)) return;
  const mms::lm::Header sound;
  std::memcpy(&header, content.data(), sizeof(header));
  header.magic = sound.magic;
  header.version = sound.version;
  header.byte_order = sound.byte_order;
  header.file_size = content.size();
  header.checksum = 0;
  std::memcpy(content.data(), &header, sizeof(header));
  mms::lm::Checksum checksum;
  checksum.add(content);
  header.checksum = checksum.value();
  std::memcpy(content.data(), &header, sizeof(header));
}

inline void require(bool holds) {
  if (!holds) std::abort();
}

/// Merge words by their first letters; the result must be a sound model, or refused.
inline void rename(const mms::NgramModel& model) {
  std::string words;
  for (mms::LmUnit unit = 0; unit < model.view().vocab; ++unit) {
    const std::string_view word = model.words().word(unit);
    words.append(word.starts_with('<') ? word : word.substr(0, 1)).push_back('\n');
  }
  std::vector<std::byte> content;
  try {
    const auto image = mms::renamed(model, words);
    for (const auto part : image->pieces()) content.insert(content.end(), part.begin(), part.end());
  } catch (const std::invalid_argument&) {
    return;
  }
  const mms::NgramModel merged(content);
  require(merged.order() == model.order());
  require(merged.view().vocab <= model.view().vocab + 1);  // <unk>, if a made-up file has none
}

inline void walk(const mms::NgramModel& model, std::string_view text) {
  rename(model);
  const mms::LmView& view = model.view();
  mms::LmState state = model.start();
  for (std::size_t at = 0; at < text.size() && at < 512; ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const mms::LmUnit unit =
        at % 2 == 0 ? byte % view.vocab : model.unit(text.substr(at, byte % 8));
    require(unit < view.vocab && model.unit(model.words().word(unit)) < view.vocab);
    const mms::LmStep step = model.score(byte % 7 == 0 ? byte % view.state_count : state, unit);
    require(step.state < view.state_count && std::isfinite(step.score));
    require(std::isfinite(model.finish(step.state)));
    state = step.state;
  }
}

}  // namespace fuzz
