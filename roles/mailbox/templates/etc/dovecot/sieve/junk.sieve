# Before every user's own rules: what the filter calls spam goes to the junk folder.
require ["fileinto", "mailbox"];

if header :is "X-Spam" "Yes" {
    fileinto :create "Junk";
    stop;
}
