#pragma once

/// Marks what the shared library shows to programs that link to it.
#define BLIP_API __attribute__((visibility("default")))
