// The kernels on the host by name, as a driver knows those of a module.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "block.h"

namespace mms::emulate {

/// A kernel and what it takes.
struct Kernel {
  struct Parameter {
    std::size_t bytes;
    std::size_t alignment;
  };

  std::string name;
  std::vector<Parameter> parameters;
  /// Copies the parameters, each from where its pointer says; the result goes to `launch`.
  std::function<std::function<void()>(void** pointers)> bind;
};

const std::vector<Kernel>& kernels();
/// Throws std::invalid_argument for an unknown name.
const Kernel& kernel_named(const std::string& name);

}  // namespace mms::emulate
