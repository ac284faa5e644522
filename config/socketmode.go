package config

import (
	"fmt"
	"io/fs"
	"strconv"
)

// DefaultSocketMode is who may connect to a Unix socket: its owner.
const DefaultSocketMode SocketMode = 0o700

// UnmarshalText reads a mode in octal, such as 0660, with or without leading
// zeros.
func (m *SocketMode) UnmarshalText(text []byte) error {
	mode, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || mode == 0 || mode > uint64(fs.ModePerm) {
		return fmt.Errorf("%q: want a file's mode in octal, such as 0660", shorten(string(text)))
	}
	*m = SocketMode(mode)
	return nil
}

// String returns the mode as it is written.
func (m SocketMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }
