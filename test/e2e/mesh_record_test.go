package e2e

import (
	"encoding/binary"
	"syscall"
	"time"
)

// recordPackets returns what comes to a UDP port of this network namespace in
// the given time (packet(7)); nothing where that is not allowed.
func recordPackets(port uint16, during time.Duration) (payloads [][]byte) {
	const ip = syscall.ETH_P_IP>>8 | syscall.ETH_P_IP&0xff<<8 // in the network's order
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, ip)
	if err != nil {
		return nil
	}
	defer syscall.Close(socket)
	if err := syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 100_000}); err != nil {
		return nil
	}
	buffer := make([]byte, 1<<16)
	for end := time.Now().Add(during); time.Now().Before(end); {
		n, _, err := syscall.Recvfrom(socket, buffer, 0)
		if err != nil || n < 20 {
			continue
		}
		packet, header := buffer[:n], int(buffer[0]&0xf)*4
		if packet[9] != syscall.IPPROTO_UDP || n < header+9 || binary.BigEndian.Uint16(packet[header+2:]) != port {
			continue
		}
		payloads = append(payloads, append([]byte(nil), packet[header+8:]...))
	}
	return payloads
}
