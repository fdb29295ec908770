// A device profile from measured operators: the tables are fitted, what the device is stays.
#pragma once

#include <string>
#include <vector>

#include "costmodel/calibrate/measured_ops.h"
#include "costmodel/calibrate/op_models.h"
#include "costmodel/device_profile.h"

namespace shardwright {

struct CalibrateOptions {
  bool quick = false;  // use the few shapes of a quick profile only
  // Collectives of one server whose devices have no link of their own describe the server.
  bool collectives = true;
};

// `base` with the models that `files` show: products and attention of their types, quantisation
// with fp8, curves of the link inside a node. Files of another device are left out. An error when
// none is of this device, or its type has no peak in `base`.
Result<DeviceProfile> calibrate_device(const DeviceProfile& base,
                                       const std::vector<MeasuredOps>& files,
                                       const CalibrateOptions& options);

// Products of more FLOPs than 2^38 take this device's table: where the timings of large products
// show one machine's throttling and not the device.
void take_large_products(const DeviceProfile& from, DeviceProfile* device);

}  // namespace shardwright
