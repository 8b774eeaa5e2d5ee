// SPDX-License-Identifier: Apache-2.0

package probes

// types are the types as they are written.
var types = map[string]Type{
	"u8": {FormatUnsigned, 1}, "u16": {FormatUnsigned, 2}, "u32": {FormatUnsigned, 4}, "u64": {FormatUnsigned, 8},
	"s8": {FormatSigned, 1}, "s16": {FormatSigned, 2}, "s32": {FormatSigned, 4}, "s64": {FormatSigned, 8},
	"x8": {FormatHex, 1}, "x16": {FormatHex, 2}, "x32": {FormatHex, 4}, "x64": {FormatHex, 8},
	"char": {FormatChar, 1}, "string": {FormatString, 0}, "ustring": {FormatUserString, 0}, "symbol": {FormatSymbol, 8},
}

// typeNames lists types in the order in which a message shows them.
const typeNames = "u8 … u64, s8 … s64, x8 … x64, char, string, ustring, symbol"

// variables are the bases that a $NAME stands for, whatever the place.
var variables = map[string]Base{
	"retval": BaseRetval, "comm": BaseComm, "pid": BasePID, "tid": BaseTID, "uid": BaseUID, "cpu": BaseCPU,
	"latency": BaseLatency, "context": BaseContext, "stack": BaseStackAddr,
}

// variableErrors are likely wrong variables, and what is meant.
var variableErrors = map[string]string{
	"ret": "$retval", "retvalue": "$retval", "return": "$retval", "rv": "$retval", "lat": "$latency", "duration": "$latency",
	"elapsed": "$latency", "ppid": "$pid", "process": "$pid", "thread": "$tid", "name": "$comm", "sp": "$stack", "arg0": "$arg1, the first one,",
}
