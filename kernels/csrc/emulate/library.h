// Kernels on the host by name, like those of a driver module.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "block.h"

namespace mms::emulate {

/// Kernel and its parameters.
struct Kernel {
  struct Parameter {
    std::size_t bytes;
    std::size_t alignment;
  };

  std::string name;
  std::vector<Parameter> parameters;
  /// Copies the parameters behind the pointers; the result goes to `launch`.
  std::function<std::function<void()>(void** pointers)> bind;
};

const std::vector<Kernel>& kernels();
/// Throws std::invalid_argument for an unknown name.
const Kernel& kernel_named(const std::string& name);

}  // namespace mms::emulate
