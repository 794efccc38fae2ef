/** What a new blog starts with. */
import { Comment, Photo, Post, PostTag, Profile, Tag, User } from './models.js';

export async function seed(): Promise<void> {
  const [bill, emma] = [await User.create({ username: 'bill' }), await User.create({ username: 'emma', admin: true })];
  await Profile.create({ userId: bill.id, bio: 'Walks along the quay, whatever the weather.' });
  const [walk, fog] = [
    await Post.create({ slug: 'harbour-walk', title: 'A walk along the harbour', text: 'It begins at the old crane.', authorId: bill.id }),
    await Post.create({ slug: 'fog', title: 'Fog & foghorns', text: 'Every two minutes, for a whole night.', authorId: emma.id }),
  ];
  const [sea, weather] = [await Tag.create({ word: 'sea' }), await Tag.create({ word: 'weather' })];
  await PostTag.bulkCreate([
    { postId: walk.id, tagId: sea.id },
    { postId: fog.id, tagId: sea.id },
    { postId: fog.id, tagId: weather.id },
  ]);
  const photo = await Photo.create({ caption: 'The old crane' });
  await Comment.create({ text: 'I was there!', authorId: emma.id, targetType: 'Post', targetId: walk.id });
  await Comment.create({ text: 'It is not that old.', authorId: bill.id, targetType: 'Photo', targetId: photo.id });
}
