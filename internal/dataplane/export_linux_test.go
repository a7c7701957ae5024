package dataplane

// RawSocket is for tests that send and receive frames.
var RawSocket = rawSocket
