// SPDX-License-Identifier: Apache-2.0

// Package checkpoint dumps a running Linux process tree into CRIU's image format and brings it back.
package checkpoint
