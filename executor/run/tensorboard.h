// TensorBoard's event file: scalars over training steps, so that the usual viewers show a run.
//
// A file is a sequence of TFRecords: length (8 bytes, little endian), masked CRC-32C of it, the
// data, masked CRC-32C of the data. The data is a protobuf Event with wall_time = 1 (double), step
// = 2 (int64), file_version = 3 (text, first record only) or summary = 5, a list of value = 1 of
// {tag = 1, simple_value = 2}. Source: tensorflow/core/lib/io/record_writer.h and
// core/util/event.proto, the formats only.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace shardwright {

class TensorBoardFile {
 public:
  // Appends to events.out.tfevents.<wall_time>.shardwright in `folder`. ok() tells whether it can
  // be written.
  TensorBoardFile(const std::string& folder, double wall_time);
  bool ok() const { return static_cast<bool>(out_); }
  void scalars(int64_t step, double wall_time,
               const std::vector<std::pair<std::string, float>>& values);

 private:
  void record(const std::string& data);
  std::ofstream out_;
};

// CRC-32C (Castagnoli), as TFRecords use it.
uint32_t crc32c(const std::string& data);

}  // namespace shardwright
