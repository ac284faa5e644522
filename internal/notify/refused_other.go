//go:build !unix

package notify

func refused(error) bool { return false }
