// Package client speaks ernius's protocol to a server: it pushes events and
// follows those of one user. The commands push and watch stand on it.
//
// [Client.Push] sends one list once, [Client.PushRetrying] until it is stored.
// [Client.Subscribe] is one connection, [Client.Watch] as many as it takes.
package client
