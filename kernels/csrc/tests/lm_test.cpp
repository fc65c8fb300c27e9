// The ARPA reader with text in pieces, and damaged compact files.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../fuzz/walk.h"
#include "check.h"
#include "mms/arpa.h"
#include "mms/ngram.h"

namespace {

constexpr std::string_view kArpa =
    "\\data\\\nngram 1=5\nngram 2=4\nngram 3=2\n\n"
    "\\1-grams:\n-99\t<s>\t-0.5\n-1\t</s>\n-2\t<unk>\n-0.5\ta\t-0.25\n-0.75\tb\t-0.125\n\n"
    "\\2-grams:\n-0.25\t<s> a\t-0.5\n-0.5\ta b\t-1\n-0.5\tb a\n-1\tb </s>\n\n"
    "\\3-grams:\n-0.125\t<s> a b\n-0.25\ta b </s>\n\n\\end\\\n";

using Bytes = std::vector<std::byte>;

Bytes converted(std::string_view arpa, std::size_t piece) {
  mms::ArpaReader reader;
  for (std::size_t at = 0; at < arpa.size(); at += piece) reader.read(arpa.substr(at, piece));
  const auto image = reader.finish();
  Bytes bytes;
  for (const auto part : image->pieces()) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

void test_pieces_of_any_size_give_the_same_file() {
  const Bytes whole = converted(kArpa, kArpa.size());
  for (std::size_t piece = 1; piece < 40; ++piece) CHECK(converted(kArpa, piece) == whole);
}

template <typename Call>
bool is_refused(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

void test_truncated_text_is_refused() {
  const std::size_t end = kArpa.find("\\end\\") + 5;
  for (std::size_t size = 0; size < end; ++size) {
    CHECK(is_refused([&] { converted(kArpa.substr(0, size), 7); }));
  }
  CHECK(!is_refused([&] { converted(kArpa.substr(0, end), 7); }));
}

void test_changed_or_truncated_files_are_refused() {
  const Bytes whole = converted(kArpa, kArpa.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (const int flipped : {0x01, 0x80, 0xff}) {
      Bytes bytes = whole;
      bytes[i] ^= static_cast<std::byte>(flipped);
      CHECK(is_refused([&] { const mms::NgramModel model(bytes); }));
    }
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK(is_refused([&] { const mms::NgramModel model(cut); }));
  }
}

// With a valid checksum, each number is replaced by values just out of range or wrapping around.
void test_no_index_leads_out_of_a_file() {
  const Bytes whole = converted(kArpa, kArpa.size());
  int refused = 0;
  for (std::size_t at = 32; at < whole.size(); at += 4) {
    for (const std::uint32_t value : {0U, 1U, 5U, 6U, 7U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
      Bytes bytes = whole;
      std::memcpy(bytes.data() + at, &value, sizeof(value));
      fuzz::mend(bytes);
      refused += is_refused([&] { fuzz::walk(mms::NgramModel(bytes), kArpa); }) ? 1 : 0;
    }
  }
  CHECK(refused > 500);
}

// Otherwise a file could make a query visit every state.
void test_states_longer_than_the_order_are_refused() {
  Bytes bytes = converted(kArpa, kArpa.size());
  mms::lm::Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.order = 2;
  std::memcpy(bytes.data(), &header, sizeof(header));
  fuzz::mend(bytes);
  CHECK(is_refused([&] { const mms::NgramModel model(bytes); }));
}

}  // namespace

int main() {
  test_pieces_of_any_size_give_the_same_file();
  test_truncated_text_is_refused();
  test_changed_or_truncated_files_are_refused();
  test_no_index_leads_out_of_a_file();
  test_states_longer_than_the_order_are_refused();
  return 0;
}
