// Any compact file: refused, or safe to ask. The first byte says whether size and checksum are made
// to fit, so that what lies behind them is reached.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include "lm/format.h"
#include "walk.h"

namespace {

void mend(std::span<std::byte> content) {
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<std::byte> content(bytes.begin(), bytes.end());
  if (data[0] != 0) mend(content);
  try {
    const mms::NgramModel model(content);
    fuzz::walk(model, {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const std::invalid_argument&) {
    return 0;
  }
  return 0;
}
