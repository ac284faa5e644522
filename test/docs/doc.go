// Package docs runs the commands that the documents tell a reader to type, as
// they are written and in their order, on a real control plane: every block of
// README.md and docs/*.md that is marked sh.
//
// It does so in network, mount and process namespaces of its own, in which
// /etc, /run, /var/log and /var/lib can be written without a trace, the users
// alice and bob exist, and the API servers have the addresses that the documents
// give them. That takes root; elsewhere it is said which blocks were not run.
//
// What a block needs beyond its commands stands in a comment on the line before
// it, which a reader does not see:
//
//	<!-- not run: REASON -->          it is not run
//	<!-- not run (WORD): REASON -->   its commands that begin with WORD are not
//	<!-- as: USER -->                 who types it; else root does
//	<!-- file: PATH -->               the block is the content of a file
//	<!-- append: PATH -->             the same, at the end of the file
//	<!-- output -->                   what the block before it prints, line by line;
//	                                  a line may end in … where it goes on
//
// A comment within a block that begins with "# …" is something that the reader
// does by other means; acts_test.go does it in their place.
package docs
