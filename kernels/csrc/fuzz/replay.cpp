// Runs a fuzz target over files and folders without libFuzzer.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(content.data()), content.size());
}

}  // namespace

int main(int count, char** arguments) {
  std::size_t replayed = 0;
  for (int i = 1; i < count; ++i) {
    const std::filesystem::path path(arguments[i]);
    std::vector<std::filesystem::path> files{path};
    if (std::filesystem::is_directory(path)) {
      files.assign(std::filesystem::directory_iterator(path), {});
    }
    for (const auto& file : files) replay(file);
    replayed += files.size();
  }
  std::printf("%zu inputs\n", replayed);
  return 0;
}
