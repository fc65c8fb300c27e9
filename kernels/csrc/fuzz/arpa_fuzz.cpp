// Any text is refused or becomes a model that can be read. The first byte sets the piece size.
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "mms/arpa.h"
#include "walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = data[0] == 0 ? size : data[0];
  mms::ArpaReader reader;
  std::unique_ptr<mms::NgramImage> image;
  try {
    for (std::size_t at = 0; at < text.size(); at += piece) reader.read(text.substr(at, piece));
    image = reader.finish();
  } catch (const std::invalid_argument&) {
    return 0;
  }
  std::vector<std::byte> content;
  for (const auto part : image->pieces()) content.insert(content.end(), part.begin(), part.end());
  fuzz::walk(mms::NgramModel(content), text);
  return 0;
}
